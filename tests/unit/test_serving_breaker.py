from agents.serving.breaker import Breaker, RetryBudget

MS = 1_000_000


def test_breaker_opens_after_failures_in_a_row_only():
    breaker = Breaker(failures=2, wait_ms=100)
    for _ in range(3):
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.state(0) == "closed"
    breaker.failed(0)
    breaker.failed(0)
    assert breaker.state(0) == "open"
    assert not breaker.allows(99 * MS)
    assert breaker.opened == 1


def test_breaker_half_open_lets_one_through_until_it_is_known_what_came_of_it():
    breaker = Breaker(failures=1, wait_ms=100)
    breaker.failed(0)
    assert breaker.state(100 * MS) == "half-open"
    assert breaker.allows(100 * MS)
    assert not breaker.allows(100 * MS)
    breaker.succeeded()
    assert breaker.allows(100 * MS)
    assert breaker.state(100 * MS) == "closed"


def test_breaker_waits_twice_as_long_after_each_try_up_to_a_bound():
    breaker = Breaker(failures=1, wait_ms=100, max_wait_ms=300)
    now, waits = 0, []
    for _ in range(4):
        breaker.failed(now)
        began = now
        while not breaker.allows(now):
            now += 10 * MS
        waits.append((now - began) // MS)
    assert waits == [100, 200, 300, 300]
    breaker.succeeded()
    breaker.failed(now)
    assert breaker.allows(now + 100 * MS)


def test_retry_budget_is_a_share_of_what_is_asked():
    budget = RetryBudget(share=0.25, most=2)
    assert budget.take()  # one to begin with
    assert not budget.take()
    for _ in range(4):
        budget.asked()
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(100):
        budget.asked()
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_retry_budget_of_no_share_allows_none():
    budget = RetryBudget(share=0.0)
    budget.asked()
    assert not budget.take()
