-- How many percent of the weight budget is a lane never denied?
select floor_percent from hl.rate_limit_lane where lane = %(lane)s
