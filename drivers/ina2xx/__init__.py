"""INA219, INA220, INA226, INA230, INA231, INA260 and INA3221 that a board's kernel serves as files."""
