-- Takes a batch of the stream's candles in, decimals as sent.
copy pg_temp.staging_stream (series_id, open_ms, open, high, low, close, volume, trades, is_closed) from stdin
