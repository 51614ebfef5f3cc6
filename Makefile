# A thin wrapper of dev.py, for those who type make; ARGS passes further arguments.
VERBS := demo test test-all lint docs peers clean env
.PHONY: help $(VERBS)

help:
	@python3 dev.py --help

$(VERBS):
	@python3 dev.py $@ $(ARGS)
