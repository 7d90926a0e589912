-- Records a request before it is sent; the id it gets orders answers by when they were asked for.
insert into hl.fetch (endpoint, request_type, coin, interval, window_start, window_end, lane, run_id, asked_at)
values (
    %(endpoint)s, %(request_type)s, %(coin)s, %(interval)s, %(window_start)s, %(window_end)s, %(lane)s, %(run_id)s,
    %(asked_at)s
)
returning fetch_id
