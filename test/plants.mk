# Each bug of test/plants.list planted in a copy of the tree, and hunted by the case that holds what it breaks. An hour of
# one core; `test/plant-bugs vfs/slot` plants some of them.
.PHONY: plants
plants:
	test/plant-bugs
