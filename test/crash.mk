# The same crash tests at ten times their usual size: more than 200,000 states.
crash: test-programs
	TEST_SCALE=10 TEST_TIMEOUT=7200 test/run $(OUT) crash_test
