"""INA219 behind a microcontroller on a serial line: the streamer inas/1, and plain text of common sketches."""
