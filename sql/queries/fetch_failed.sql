-- Records that a request got no answer that could be used, and why.
update hl.fetch set status = 'failed', error = %(error)s, refused = %(refused)s where fetch_id = %(fetch_id)s
