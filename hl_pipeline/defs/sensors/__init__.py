"""What reacts: to data that is late, to runs that fail, to checks that change. All off until somebody turns them on."""
