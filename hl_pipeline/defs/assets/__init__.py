"""One relation, one asset: markets, candles at the live edge and by month, confidence, latest metrics."""
