"""The arithmetic of choosing rows: functions of arrays, and vectors read part by part."""
