# The tour: make demo. It installs what a fresh Debian 12 lacks, builds, and runs.
demo:
	tools/install-packages
	$(MAKE) turdb.so
	/usr/bin/python3 examples/demo.py $(DEMO)
