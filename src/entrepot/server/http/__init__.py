"""What every request meets, whichever face it is for: parsing, limits, metering, logs. Knows no face."""
