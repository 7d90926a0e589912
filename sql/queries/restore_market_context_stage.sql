-- Take a file's quotes in; nothing between two tabs is a value that was not there.
copy pg_temp.staging_restore_market_context from stdin (null '')
