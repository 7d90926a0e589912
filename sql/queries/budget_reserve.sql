-- May a request of this weight be sent now under this key, and if not, in how many seconds?
select allowed, spend_id, retry_after, remaining
from hl.check_rate_limit(%(key)s, %(weight)s, %(lane)s, %(waiter)s, %(now)s);
