"""The door for worlds that another program made: anybody can examine us with data whose truth we never see."""
