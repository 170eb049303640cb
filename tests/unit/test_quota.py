"""How often each of many may do something."""

from grid.quota import Quota


def test_quota_is_a_bucket_for_each_and_fills_again():
    quota = Quota()
    assert [quota.take("a", 3, 0.0) for _ in range(4)] == [True, True, True, False]
    assert quota.take("b", 3, 0.0)
    assert not quota.take("a", 3, 0.2)
    assert quota.take("a", 3, 0.4)
    assert [quota.take("a", 3, 100.0) for _ in range(4)] == [True, True, True, False]


def test_quota_is_taken_by_as_many_as_come():
    quota = Quota()
    assert quota.take("a", 10, 0.0, 9)
    assert not quota.take("a", 10, 0.0, 2)
    assert quota.take("a", 10, 0.0, 1)


def test_quota_remembers_only_so_many():
    quota = Quota()
    for n in range(20_000):
        quota.take(n, 1, 0.0)
    assert not quota.take(19_999, 1, 0.0)
    assert quota.take(0, 1, 0.0)
