"""Models: adapters for any library, common architectures, and trained weights.

`adapters` makes the pair `(apply_fn, variables)` of a model of any library, `summary`
prints a model, `architectures/` has one network a file, and `weights/` reads trained
weights into them; `pretrained` returns small networks that come with this package.
"""

from jaxinterp.models.adapters import from_equinox as from_equinox
from jaxinterp.models.adapters import from_function as from_function
from jaxinterp.models.adapters import from_haiku as from_haiku
from jaxinterp.models.adapters import from_keras as from_keras
from jaxinterp.models.adapters import from_linen as from_linen
from jaxinterp.models.adapters import from_nnx as from_nnx
from jaxinterp.models.architectures.alexnet import AlexNet as AlexNet
from jaxinterp.models.architectures.bert import Bert as Bert
from jaxinterp.models.architectures.cnn import CNN as CNN
from jaxinterp.models.architectures.convnext import ConvNeXt as ConvNeXt
from jaxinterp.models.architectures.dcgan import (
    DCGANDiscriminator as DCGANDiscriminator,
)
from jaxinterp.models.architectures.dcgan import DCGANGenerator as DCGANGenerator
from jaxinterp.models.architectures.googlenet import GoogLeNet as GoogLeNet
from jaxinterp.models.architectures.lenet import LeNet as LeNet
from jaxinterp.models.architectures.llama import Llama as Llama
from jaxinterp.models.architectures.mlp import MLP as MLP
from jaxinterp.models.architectures.mlp import MLPGenerator as MLPGenerator
from jaxinterp.models.architectures.recurrent import GRUClassifier as GRUClassifier
from jaxinterp.models.architectures.recurrent import LSTMClassifier as LSTMClassifier
from jaxinterp.models.architectures.resnet import ResNet as ResNet
from jaxinterp.models.architectures.resnet import ResNet8 as ResNet8
from jaxinterp.models.architectures.squeezenet import SqueezeNet as SqueezeNet
from jaxinterp.models.architectures.transformer import Transformer as Transformer
from jaxinterp.models.architectures.vae import VAE as VAE
from jaxinterp.models.architectures.vgg import VGG as VGG
from jaxinterp.models.architectures.vit import ViT as ViT
from jaxinterp.models.summary import summary as summary
from jaxinterp.models.weights.load import Loaded as Loaded
from jaxinterp.models.weights.load import load as load
from jaxinterp.models.weights.preprocess import Preprocess as Preprocess
from jaxinterp.models.weights.pretrained import Examples as Examples
from jaxinterp.models.weights.pretrained import Pretrained as Pretrained
from jaxinterp.models.weights.pretrained import pretrained as pretrained
from jaxinterp.models.with_preprocess import with_preprocess as with_preprocess
