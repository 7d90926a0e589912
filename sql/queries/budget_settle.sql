-- What did a reserved request really cost? Answers whether its reservation was still there.
select hl.settle_rate_limit(%(spend_id)s, %(weight)s, %(now)s);
