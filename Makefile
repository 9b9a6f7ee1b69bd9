# make lab    opens the course in JupyterLab (PORT=8888, START=notebooks/02-....ipynb to choose)
# make test   passes the tests (TESTS="tests/unit -k haar" to choose)
# make test-torch the same for PyTorch: its tests and chapter 10, in .venv-torch (5.6 GB)
# make record runs the chapters and keeps their outputs (NOTEBOOKS="notebooks/01-....ipynb")
# make bench  times the package against what one would use instead, into README.md
# make book   the chapters as a site, in build/book; make pdf and make slides: on paper, in class
# make links  asks every address in the book whether it answers (needs a network)
# make publish URL=https://host/account/project   sets the public address, everywhere
# make classroom releases and grades exercises (DO="grade FOLDER --to GRADES.csv" and others)
# make lock   resolves requirements/ again from pyproject.toml

START = notebooks/00-start-here.ipynb
PORT = 8888
NOTEBOOKS = notebooks/0*.ipynb
ready = . .ci/ready.sh

# Nothing is run: the sources are copies of the chapters as they are recorded.
BUILD = build
book_ready = only_uv=1; $(ready); extra=book; . .ci/extra.sh
sphinx = rm -rf $(BUILD)/pages && mkdir -p $(BUILD)/pages && cp -R notebooks/. book/index.md $(BUILD)/pages && \
	"$$python" -m sphinx -q -E -a -W --keep-going -c book -d $(BUILD)/doctrees

.PHONY: lab test test-torch record bench book pdf slides links publish classroom lock
lab:
	@$(ready); exec "$$python" -m jupyterlab $$as_root --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) --LabApp.default_url=/lab/tree/$(START)

test:
	@$(ready); exec "$$python" -m pytest $(TESTS)

test-torch:
	@only_uv=1; $(ready); extra=torch version=3.13; . .ci/extra.sh; \
	"$$uv" pip install --quiet --no-deps --no-build-isolation --offline --python "$$python" -e .; \
	OMP_NUM_THREADS=1 exec "$$python" -m pytest -c tests/torch/pytest.ini --rootdir . $(TESTS)

record:
	@$(ready); "$$python" -m d2l_init record $(NOTEBOOKS) && "$$python" .ci/readme.py

bench:
	@$(ready); exec "$$python" tests/benchmarks/bench.py --readme

book:
	@$(book_ready); rm -rf $(BUILD)/book; $(sphinx) -b html $(BUILD)/pages $(BUILD)/book; echo $(BUILD)/book/index.html

pdf:
	@$(book_ready); $(sphinx) -b singlehtml -t paper $(BUILD)/pages $(BUILD)/paper; \
	"$$python" book/pdf.py $(BUILD)/paper/index.html $(BUILD)/d2l_init.pdf; echo $(BUILD)/d2l_init.pdf

slides:
	@$(book_ready); "$$python" book/slides.py $(BUILD)/slides; ls $(BUILD)/slides/*.html

links:
	@$(book_ready); $(sphinx) -D linkcheck_timeout=30 -D linkcheck_retries=3 -b linkcheck $(BUILD)/pages $(BUILD)/links

publish:
	@$(ready); "$$python" .ci/address.py && "$$python" .ci/readme.py

classroom:
	@$(ready); extra=classroom; . .ci/extra.sh; exec "$$python" -m d2l_init classroom $(DO)

lock:
	@only_uv=1; $(ready); set -- pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --no-strip-extras; \
	"$$uv" "$$@" --python-version 3.11 --extra cpu --extra test pyproject.toml -o requirements/cpu.txt; \
	"$$uv" "$$@" --python-version 3.11 --extra cu112 -c requirements/cpu.txt pyproject.toml -o requirements/cu112.txt; \
	"$$uv" "$$@" --python-version 3.11 --extra classroom -c requirements/cpu.txt pyproject.toml -o requirements/classroom.txt; \
	"$$uv" "$$@" --python-version 3.13 --extra test-torch pyproject.toml -o requirements/torch.txt; \
	"$$uv" "$$@" --python-version 3.11 --group book -o requirements/book.txt; \
	echo uv | "$$uv" "$$@" --python-version 3.8 - -o requirements/uv.txt
