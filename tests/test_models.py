import pytest
import torch
from sklearn.metrics import f1_score

from kindling.facts import Facts
from kindling.models import MODELS, SimpleNet
from kindling.tasks.scores import MacroF1


def test_probabilities_sum_to_one() -> None:
    net = SimpleNet()
    net.set_task(Facts(in_features=2, class_names=("a", "b")))
    predicted = net.predict_step((torch.randn(5, 2),))
    assert predicted.sum(dim=1).tolist() == pytest.approx([1] * 5)


def test_only_what_is_named_is_there() -> None:
    import kindling.models

    assert all(getattr(kindling.models, name).__name__ == name for name in MODELS)
    with pytest.raises(AttributeError, match="has no attribute 'Nets'"):
        _ = kindling.models.Nets


@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_macro_f1_is_scikit_learns(classes: int) -> None:
    """Also of so many classes that all pairs of them, counted for each sample, would fill the memory."""
    torch.manual_seed(classes)
    shares, labels = torch.rand(1000, classes), torch.randint(classes, (1000,))
    metric = MacroF1(classes, validate_args=False)
    torch.use_deterministic_algorithms(True)
    try:
        metric.update(shares, labels)
        found = float(metric.compute())
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == pytest.approx(f1_score(labels, shares.argmax(dim=1), average="macro"))
