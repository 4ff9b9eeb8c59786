VERSION: str
LEVELS: tuple[str, ...]
OPENMP: bool
CHECKS: bool
COMPILER: str
