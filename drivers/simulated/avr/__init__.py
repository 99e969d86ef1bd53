"""The real firmware of the INA219 streamer, run: an ATmega328P in simavr, a simulated chip on its I2C bus, its USART
on a pseudo-terminal that a serial driver opens."""
