"""Networks of well-known tutorials, layer by layer as their articles give them."""

from torch import Tensor, nn


class OneChannel(nn.Module):
    """Average the channels, (B, 3, H, W) to (B, 1, H, W), for a network made for grey pictures."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.mean(dim=1, keepdim=True)


def simpleconv3(classes: int, size: int) -> nn.Sequential:
    """Build the lips article's network: unpadded stride-2 convolutions 3-12-24-48, then 1200-1200-128 at 48 px."""
    side = size
    layers: list[nn.Module] = []
    for inner, outer in ((3, 12), (12, 24), (24, 48)):
        layers += [nn.Conv2d(inner, outer, 3, stride=2), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)]
        side = (side - 3) // 2 + 1
    _check_side("simpleconv3", side, size, least=15, usual=48)
    dense = [nn.Linear(48 * side * side, 1200), nn.ReLU(), nn.Linear(1200, 128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def fer_cnn(classes: int, size: int) -> nn.Sequential:
    """Build the FER2013 blog's network of one grey channel: four convolutions, two dense layers; 4.5 M at 48 px.

    Every one of the six is followed by batch norm, ReLU and dropout .25, the convolutions by 2x2 max pooling too.
    """
    layers: list[nn.Module] = [OneChannel()]
    for inner, outer, kernel in ((1, 64, 3), (64, 128, 5), (128, 512, 3), (512, 512, 3)):
        layers += [nn.Conv2d(inner, outer, kernel, padding=kernel // 2), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
    _check_side("fer_cnn", size // 16, size, least=16, usual=48)
    layers.append(nn.Flatten())
    for inner, outer in ((512 * (size // 16) ** 2, 256), (256, 512)):
        layers += [nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.ReLU(inplace=True), nn.Dropout(0.25)]
    return nn.Sequential(*layers, nn.Linear(512, classes))


def prelu_cnn(classes: int, size: int) -> nn.Sequential:
    """Build the five-class contest's network: convolutions 1x1, 3x3 and 5x5, the last two with PReLU (He et al. 2015).

    Nearly all of its 136 M parameters at 64 px stand between the pooled 64 x 32 x 32 features and the 2,048 units.
    """
    convolutions = [
        *(nn.Conv2d(3, 32, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.PReLU(64)),
        *(nn.Conv2d(64, 64, 5, padding=2), nn.PReLU(64)),
        nn.MaxPool2d(2),
    ]
    dense: list[nn.Module] = [nn.Flatten()]
    for inner, outer in ((64 * (size // 2) ** 2, 2048), (2048, 1024)):
        dense += [nn.Linear(inner, outer), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return nn.Sequential(*convolutions, *dense, nn.Linear(1024, classes))


def vgg_small(classes: int, size: int) -> nn.Sequential:
    """Build the web service tutorial's network: pairs of padded 3x3 convolutions of 32, 64 and 128, then 512 units."""
    layers: list[nn.Module] = []
    for inner, outer in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(outer, outer, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.25)]
    _check_side("vgg_small", size // 8, size, least=8, usual=64)
    dense = [nn.Linear(128 * (size // 8) ** 2, 512), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(512, classes)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def _check_side(name: str, side: int, size: int, *, least: int, usual: int) -> None:
    """Raise ValueError where the convolutions leave nothing of a picture."""
    if side < 1:
        raise ValueError(f"{name} needs pictures of {least} px or more, not {size}: set the size to {usual}")
