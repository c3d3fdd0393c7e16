from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.cli.arguments import Request
    from kindling.runs.find import Checkpoint


def serve(
    request: "Request",
    checkpoint: "Checkpoint | None",
    export: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_batch: int = 64,
    max_wait_ms: float = 0.0,
    max_body: float | None = None,
    api_key: str | None = None,
    cors: str | None = None,
    grace: float = 10.0,
    docker: bool = False,
) -> None:
    """Answer requests with a trained network: serve --ckpt_path best.

    Args:
        export: Folder that export wrote, to serve without a checkpoint, also on a machine that lacks torch.
        host: Address to listen at; 0.0.0.0 lets other machines ask.
        port: Port to listen at; 0 for any that is free.
        max_batch: Samples that the network is given at once, at most.
        max_wait_ms: Milliseconds that a request waits for others to share its batch.
        max_body: MB of one request, at most; unless given 4 of rows and 32 of images.
        api_key: A file that holds the key that each request has to bring, or env:NAME for a variable.
        cors: Address of web pages that may ask, e.g. https://example.org; none unless given.
        grace: Seconds in which requests under way are answered after Ctrl-C or SIGTERM.
        docker: Write a Dockerfile and a compose file beside the export instead of serving.
    """
    own = dict(locals())
    del own["request"], own["checkpoint"]
    from kindling.cli import serving

    serving.run(request, checkpoint, own)
