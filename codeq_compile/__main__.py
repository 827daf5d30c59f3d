# SPDX-License-Identifier: Apache-2.0
"""`python -m codeq_compile`: the command `codeq` where the scripts folder is not on the path."""

from codeq_compile.cli import main

if __name__ == "__main__":
    main(prog_name="codeq")
