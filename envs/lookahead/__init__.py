"""Look-ahead, caught: what lies before a row must not change when only later rows do."""
