from control_plane import progress


def download(say: progress.Say) -> None: ...
