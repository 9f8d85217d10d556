"""ONNX Runtime sessions: the demanded provider or a clear refusal, bounded threads, no surprises."""

import onnxruntime as ort
import structlog
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from edge_agent.config.stations import DetectorOptions
from edge_agent.domain.faults import ConfigError

log = structlog.get_logger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}

RUNTIME_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
)
"""What ONNX Runtime raises; they share no base class of their own."""


def open_session(model: bytes, name: str, options: DetectorOptions) -> ort.InferenceSession:
    """A session on the demanded provider.

    Raises:
        ConfigError: not a model, or the demanded provider is not to be had and ``on_missing_provider`` is refuse.
    """
    demanded = PROVIDERS[options.providers[0]]
    wanted = [PROVIDERS[provider] for provider in options.providers]
    offered = [provider for provider in wanted if provider in ort.get_available_providers()]
    if demanded not in offered:
        _missing(name, demanded, ort.get_available_providers(), options)
    try:
        # The CPU stays behind every other provider: it runs the few operators that one cannot.
        providers = [*offered, *([] if PROVIDERS["cpu"] in offered else [PROVIDERS["cpu"]])]
        session = ort.InferenceSession(model, _session_options(options.threads), providers=providers)
    except RUNTIME_ERRORS as error:
        raise ConfigError(f"model {name}: ONNX Runtime {ort.__version__} cannot load it: {error}") from error
    session.disable_fallback()
    if demanded in offered and session.get_providers()[0] != demanded:
        _missing(name, demanded, session.get_providers(), options)
    return session


def _session_options(threads: int) -> ort.SessionOptions:
    found = ort.SessionOptions()
    found.intra_op_num_threads = threads
    found.inter_op_num_threads = 1
    found.log_severity_level = 3
    # Spinning workers burn the cores that the rest of the box needs between two parts.
    found.add_session_config_entry("session.intra_op.allow_spinning", "0")
    found.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return found


def _missing(name: str, demanded: str, got: list[str], options: DetectorOptions) -> None:
    text = f"model {name}: provider {demanded} was demanded, ONNX Runtime {ort.__version__} gives {', '.join(got)}"
    if options.on_missing_provider == "refuse":
        advice = "install edge-agent[gpu] and the driver, or set detector.providers or on_missing_provider: degrade"
        raise ConfigError(f"{text}; {advice}")
    log.error("detector runs degraded: the demanded provider is missing", model=name, demanded=demanded, got=got)
