# make lab    opens the course in JupyterLab (PORT=8888, START=notebooks/02-....ipynb to choose)
# make test   passes the tests (TESTS="tests/unit -k haar" to choose)
# make record runs the chapters and keeps their outputs (NOTEBOOKS="notebooks/01-....ipynb")
# make bench  times the package against what one would use instead, into README.md
# make publish URL=https://host/account/project   sets the public address, everywhere
# make classroom releases and grades exercises (DO="grade FOLDER --to GRADES.csv" and others)
# make lock   resolves requirements/ again from pyproject.toml

START = notebooks/00-start-here.ipynb
PORT = 8888
ready = . .ci/ready.sh

.PHONY: lab test record bench publish lock
lab:
	@$(ready); exec "$$python" -m jupyterlab $$as_root --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) --LabApp.default_url=/lab/tree/$(START)

test:
	@$(ready); exec "$$python" -m pytest $(TESTS)

record:
	@$(ready); "$$python" -m d2l_init record $(NOTEBOOKS) && "$$python" .ci/readme.py

bench:
	@$(ready); exec "$$python" tests/benchmarks/bench.py --readme

publish:
	@$(ready); "$$python" .ci/address.py && "$$python" .ci/readme.py

classroom:
	@$(ready); . .ci/classroom.sh; exec "$$grader" -m d2l_init classroom $(DO)

lock:
	@only_uv=1; $(ready); set -- pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras; \
	"$$uv" "$$@" --python-version 3.11 --extra cpu --extra test pyproject.toml -o requirements/cpu.txt; \
	"$$uv" "$$@" --python-version 3.11 --extra cu112 -c requirements/cpu.txt pyproject.toml -o requirements/cu112.txt; \
	"$$uv" "$$@" --python-version 3.11 --extra classroom -c requirements/cpu.txt pyproject.toml -o requirements/classroom.txt; \
	echo uv | "$$uv" "$$@" --python-version 3.8 - -o requirements/uv.txt
