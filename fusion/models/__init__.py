"""One Kalman state model per module: functions over the rows of a table."""
