"""The table of attacks: every one of them must be refused, with its code, at its level and not before."""

from __future__ import annotations

from expunge.adversary.table.attempt import Fixture, Make
from expunge.adversary.table.content import (
    fitted_scale,
    label_flipped,
    perturbed,
    printed_alike,
    swapped_content,
)
from expunge.adversary.table.file import (
    bomb,
    copied_envelope,
    forked,
    key_twice,
    link,
    model_swapped,
    not_a_number,
    other_key,
    path_escape,
    pickled,
    rolled_back,
    too_deep,
)
from expunge.adversary.table.foreign import old_weights, rows_in_answers, rows_in_options
from expunge.adversary.table.lineage import (
    branched,
    copies_added,
    decoy,
    false_label,
    for_another_model,
    for_another_request,
    ground_beacon,
    other_augmentation,
    other_recipe,
    request_ignored,
    revived,
    tolerant_as_exact,
)
from expunge.adversary.table.schedule import absorption, dropped_steps, forged_by, other_order, repeated_step
from expunge.adversary.table.shard import (
    old_shard_kept,
    shard_dropped,
    stale_checkpoint,
    two_shards,
    wrong_shard,
)
from expunge.adversary.table.spoof import spoofed
from expunge.adversary.table.state import (
    fine_tuned,
    in_half_precision,
    nothing_done,
    one_ulp,
    other_buffers,
    other_optimiser_state,
    signed_buffers,
    signed_optimiser_state,
    trained_as,
    with_optimiser,
)
from expunge.adversary.table.sums import (
    forged_sums,
    nothing_taken_out,
    other_penalty,
    other_weights,
    out_of_range,
    row_left_in,
    seat_kept,
    sums_of_others,
    swapped_tombstones,
)
from expunge.records.limits import Code
from expunge.records.verdict import Level

BATCH, REPLAY, LEAF = Code.SCHEDULE_BATCH_MISMATCH, Code.REPLAY_STATE_MISMATCH, Code.CONTENT_LEAF_MISMATCH
ROOT, MAP, LENGTH = Code.DATASET_ROOT_CHANGED, Code.SHARD_MAP_MISMATCH, Code.SCHEDULE_LENGTH_MISMATCH
RECIPE, STATE, BOUND = Code.RECIPE_DIGEST_MISMATCH, Code.CHECKPOINT_LEAF_MISMATCH, Code.REQUEST_BINDING_MISMATCH
HIGH, SUMS, NOT_OF_SUMS = Code.GUARANTEE_TOO_HIGH, Code.SUMS_MISMATCH, Code.WEIGHTS_NOT_OF_SUMS
MEMBER, JSON, LOG = Code.ENSEMBLE_MEMBER_MISMATCH, Code.MALFORMED_JSON, Code.LOG_INCONSISTENT
V0, V1, V2 = Level.V0, Level.V1, Level.V2


def _row(number: str, title: str, code: Code, level: Level, make: Make, *also: Code) -> Fixture:
    return Fixture(number=number, title=title, code=code, level=level, make=make, also=also)


FIXTURES: tuple[Fixture, ...] = (
    _row("1", "greedy random-batch forging", BATCH, V1, forged_by("greedy")),
    _row("2", "nearest-neighbour forging", BATCH, V1, forged_by("nearest")),
    _row("3-swap", "single-swap forging", BATCH, V1, forged_by("swap")),
    _row("3-matching", "orthogonal-matching forging", BATCH, V1, forged_by("matching")),
    _row("4", "content perturbed to make up for a person", LEAF, V2, perturbed),
    _row("5-duplicate", "forgotten rows added again under another name", ROOT, V1, copies_added(0), MAP),
    _row("5-near", "near-duplicates of forgotten rows added", ROOT, V1, copies_added(1), MAP),
    _row("6", "nothing done: same weights, new record", Code.WEIGHTS_UNCHANGED, V1, nothing_done),
    _row("6b", "one weight moved by one ulp", REPLAY, V2, one_ulp),
    _row("7", "fine-tuned, claimed as retrained", REPLAY, V2, fine_tuned),
    _row("8", "infinitesimal updates, rate next to nothing", Code.RECIPE_DEGENERATE, V1, spoofed("infinitesimal")),
    _row("9", "blindfold: honest steps only where one looks", REPLAY, V2, spoofed("blindfold")),
    _row("10", "false initial weights, re-sorted", Code.INIT_MISMATCH, V2, spoofed("resorted-init")),
    _row("11", "seeds ground against a beacon known too early", Code.BEACON_NOT_AFTER_COMMIT, V1, ground_beacon),
    _row("12", "order changed inside an epoch", Code.SCHEDULE_ORDER_MISMATCH, V1, other_order),
    _row("13-dropped", "last steps dropped", LENGTH, V1, dropped_steps),
    _row("13-repeated", "last step carried out twice", LENGTH, V1, repeated_step),
    _row("14-rate", "another rate than committed", RECIPE, V1, other_recipe("rate", rate=0.02)),
    _row("14-momentum", "another momentum than committed", RECIPE, V1, other_recipe("momentum", momentum=0.8)),
    _row("14-decay", "another weight decay than committed", RECIPE, V1, other_recipe("decay", weight_decay=0.0)),
    _row("14b-rate", "trained at another rate than named", REPLAY, V2, trained_as(with_optimiser(rate=0.01))),
    _row("14b-momentum", "trained with another momentum", REPLAY, V2, trained_as(with_optimiser(momentum=0.8))),
    _row("14b-decay", "trained with another decay", REPLAY, V2, trained_as(with_optimiser(weight_decay=0.0))),
    _row("15-buffers", "batch norm's buffers altered in a signed state", STATE, V1, other_buffers),
    _row("15-optimiser", "momentum altered in a signed state", STATE, V1, other_optimiser_state),
    _row("15b-buffers", "buffers altered before the leaf was signed", REPLAY, V2, signed_buffers),
    _row("15b-optimiser", "momentum altered before the leaf was signed", REPLAY, V2, signed_optimiser_state),
    _row("16", "label flipped", LEAF, V2, label_flipped),
    _row("17", "augmentation swapped", Code.PREPROCESSING_MISMATCH, V1, other_augmentation),
    _row("18", "stale checkpoint: an affected slice reused", Code.REUSE_AFTER_TOUCH, V1, stale_checkpoint),
    _row("19-shard", "somebody dealt to another shard", MAP, V1, wrong_shard),
    _row("19-twice", "one slot in two shards", MAP, V1, two_shards),
    _row("20-dropped", "shard dropped from the ensemble", MEMBER, V1, shard_dropped),
    _row("20-kept", "old member kept in the ensemble", MEMBER, V1, old_shard_kept),
    _row("21", "model swapped after signing", Code.SUBJECT_DIGEST_MISMATCH, V0, model_swapped),
    _row("22-model", "request made of another model", BOUND, V1, for_another_model),
    _row("22-request", "request about another data set", BOUND, V1, for_another_request),
    _row("23-fork", "log forked", LOG, V0, forked),
    _row("23-rollback", "log rolled back", LOG, V0, rolled_back),
    _row("23b", "logged request not honoured", Code.REQUEST_MISSING, V1, request_ignored),
    _row("24", "key substituted, self-signed bundle", Code.KEY_NOT_TRUSTED, V0, other_key),
    _row("25", "pictures equal when printed, unequal in bytes", LEAF, V2, printed_alike),
    _row("26-pickle", "pickle in the place of the weights", Code.UNSAFE_FILE, V0, pickled),
    _row("26-path", "path that leads out of a zip", Code.UNSAFE_PATH, V0, path_escape),
    _row("26-link", "link in a zip", Code.UNSAFE_PATH, V0, link),
    _row("26-bomb", "zip bomb", Code.SIZE_LIMIT, V0, bomb),
    _row("26-nan", "NaN in JSON", JSON, V0, not_a_number),
    _row("26-twice", "one key twice in JSON", JSON, V0, key_twice),
    _row("26-deep", "JSON nested too deeply", JSON, V0, too_deep),
    _row("27", "tolerant run labelled exact", Code.PROFILE_CLAIM_MISMATCH, V1, tolerant_as_exact),
    _row("27b", "half precision, told consistently as exact", REPLAY, V2, trained_as(in_half_precision)),
    _row("28", "absorbed swap: no bit of any state changes", BATCH, V1, absorption),
    _row("28b", "absorbed content handed to a scheduled chair", LEAF, V2, swapped_content),
    _row("29", "tombstone revived in a later record", Code.TOMBSTONE_REVIVED, V1, revived),
    _row("30", "tombstone that nobody asked for", Code.TOMBSTONE_UNREQUESTED, V1, decoy),
    _row("31", "statistics fitted on data, called constant", Code.PREPROCESSING_FITTED, V2, fitted_scale),
    _row("32", "a branch in which a forgotten person sits again", Code.REQUEST_MISSING, V1, branched),
    _row("33", "the record a second time, among its ancestors", Code.CHAIN_BROKEN, V0, copied_envelope),
    _row("34", "a label column that the rows never had", LEAF, V2, false_label),
    _row("35-weights", "own model code that loads weights which knew the person", HIGH, V2, old_weights),
    _row("35-options", "forgotten rows in the options of own model code", HIGH, V1, rows_in_options),
    _row("35-answers", "forgotten rows read while own model code answers", HIGH, V2, rows_in_answers),
    _row("36", "sums in which a row counts as of another class", SUMS, V2, forged_sums),
    _row("37", "sums in which a row of the person was left", Code.SUMS_IMPOSSIBLE, V1, row_left_in),
    _row("37b", "nothing taken out: same sums, new record", Code.WEIGHTS_UNCHANGED, V1, nothing_taken_out),
    _row("38", "sums with a feature that no map makes", Code.SUMS_IMPOSSIBLE, V1, out_of_range),
    _row("39", "another penalty than follows from the sums", Code.PENALTY_MISMATCH, V1, other_penalty),
    _row("40", "the right sums, and weights that knew the person", NOT_OF_SUMS, V1, other_weights),
    _row("41", "the right weights, and sums that do not make them", NOT_OF_SUMS, V1, sums_of_others),
    _row("42", "other people taken out of the sums than asked for", SUMS, V2, swapped_tombstones),
    _row("43", "leaf of a forest that seats a forgotten row", Code.FORGOTTEN_ROW_SEATED, V1, seat_kept),
)
