from control_plane import progress


def build(say: progress.Say) -> None: ...
