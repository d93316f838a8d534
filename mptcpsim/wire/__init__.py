"""The live wire: the stack of the simulator on real interfaces, in real time (docs/wire.md)."""
