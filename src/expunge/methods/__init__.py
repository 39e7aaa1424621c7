"""Ways to unlearn, one idea per file. ``METHODS`` is the one visible table."""

from __future__ import annotations

from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.certified_logistic import CertifiedLogistic
from expunge.methods.contract import Method, Need, Parent, Unlearned
from expunge.methods.contrast_and_strengthen import ContrastAndStrengthen
from expunge.methods.convolution_transpose import ConvolutionTranspose
from expunge.methods.decoupled_distillation import DecoupledDistillation
from expunge.methods.exact_replay import ExactReplay
from expunge.methods.fine_tune import FineTune
from expunge.methods.fisher_noise import FisherNoise
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.impair_repair import ImpairRepair
from expunge.methods.influence import Influence
from expunge.methods.l1_sparse import L1Sparse
from expunge.methods.last_layers import FineTuneLastLayers, RetrainLastLayers
from expunge.methods.light_perturbation import LightPerturbation
from expunge.methods.masked_small_gradients import MaskedSmallGradients
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.neural_tangent_kernel import NeuralTangentKernel
from expunge.methods.noise_and_tune import NoiseAndTune
from expunge.methods.noisy_gradient_descent import NoisyGradientDescent
from expunge.methods.prune_and_match import PruneAndMatch
from expunge.methods.random_labels import Amnesiac, RandomLabels, SuccessiveRandomLabels
from expunge.methods.retrain import Retrain
from expunge.methods.saliency_unlearning import SaliencyUnlearning
from expunge.methods.scrub import Scrub
from expunge.methods.selective_synaptic_dampening import SelectiveSynapticDampening
from expunge.methods.sign_descent import SignDescent

METHODS: tuple[type[Method], ...] = (
    Retrain,
    ExactReplay,
    CertifiedLogistic,
    FineTune,
    NoisyGradientDescent,
    GradientAscent,
    NegGradPlus,
    RandomLabels,
    SuccessiveRandomLabels,
    Amnesiac,
    SaliencyUnlearning,
    L1Sparse,
    Scrub,
    BadTeacher,
    DecoupledDistillation,
    BoundaryShrink,
    BoundaryExpand,
    RetrainLastLayers,
    FineTuneLastLayers,
    ImpairRepair,
    SignDescent,
    SelectiveSynapticDampening,
    FisherNoise,
    Influence,
    NeuralTangentKernel,
    LightPerturbation,
    MaskedSmallGradients,
    ConvolutionTranspose,
    ContrastAndStrengthen,
    NoiseAndTune,
    PruneAndMatch,
)

__all__ = ["METHODS", "Method", "Need", "Parent", "Unlearned"]
