"""pi3 from official checkpoints."""

from recon4d.networks.load import Loader
from recon4d.networks.pi3.config import config_of
from recon4d.networks.pi3.network import Pi3

PI3 = Loader(lambda weights: config_of(weights.tensors), Pi3, lambda _: "pi3")
load_pi3, network_of, empty_network = PI3.load, PI3.network_of, PI3.empty
