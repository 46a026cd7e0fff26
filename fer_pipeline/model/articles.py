"""The networks of the field's tutorials, layer by layer as their articles give them."""

from torch import nn


def simpleconv3(classes: int, size: int) -> nn.Sequential:
    """The lips article's network: three unpadded stride-2 convolutions 3-12-24-48, then 1200-1200-128 at 48 px."""
    side = size
    layers: list[nn.Module] = []
    for inner, outer in ((3, 12), (12, 24), (24, 48)):
        layers += [nn.Conv2d(inner, outer, 3, stride=2), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)]
        side = (side - 3) // 2 + 1
    if side < 1:
        raise ValueError(f"simpleconv3 needs pictures of 15 px or more, not {size}: set the size to 48")
    dense = [nn.Linear(48 * side * side, 1200), nn.ReLU(), nn.Linear(1200, 128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)
