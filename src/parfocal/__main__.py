"""`python -m parfocal`: what `torchrun -m` needs."""

from parfocal.cli import main

main()
