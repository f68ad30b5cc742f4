"""The command line with the toy stages in its registry: ``python -m tests.toy_main run PLAN --out DIR``."""

from potstill.cli import main
from potstill.pipelines import plan
from tests.toys import ToyPlan

plan.Plan = ToyPlan

if __name__ == "__main__":
    main()
