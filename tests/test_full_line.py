"""The widened line: learned scalarizers, surrogates that see images, real files."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin import config, scalarizers
from aemtwin.errors import BadConfig
from aemtwin.flags import campaign_file
from aemtwin.journal import read_documents
from tests.small import small_arrays, small_twin

SMALL = {"first": 5, "steps": 4, "candidates": (6, 5), "seed": 2, "baseline": False}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("pca"))
    options = {**SMALL, "baseline": True}
    return aemtwin.run(small_twin(), scalarizer="pca", out=out, **options)


def test_earlier_values_are_what_the_learned_scalarizer_says_in_the_end(learned):
    found = [learned.record.spectrum(i) for i in range(9)]
    sought = scalarizers.get("pca").fit(found)
    values = [event["data"]["value"] for event in learned.record.events]
    np.testing.assert_array_equal(values, [sought(one) for one in found])
    assert all(event["data"]["valid"] for event in learned.record.events)
    documents, _ = read_documents(learned.path / "journal.jsonl")
    then = [d["data"]["value"] for name, d in documents if name == "event"]
    assert then[0] is None  # nothing had been learned yet
    assert then[-1] == values[-1]


def test_a_run_cut_off_tells_the_values_as_they_were_learned_last(tmp_path):
    def cut(campaign, state, decision):
        if decision.seq_num == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(
            small_twin(), scalarizer="pca", out=str(tmp_path), on_step=cut, **SMALL
        )
    record = aemtwin.Run(next(tmp_path.iterdir())).record
    found = [record.spectrum(i) for i in range(7)]
    sought = scalarizers.get("pca").fit(found)
    values = [event["data"]["value"] for event in record.events]
    np.testing.assert_array_equal(values, [sought(one) for one in found])


def test_truth_and_random_run_are_scored_with_what_was_learned(learned):
    sought = scalarizers.get("pca").fit([learned.record.spectrum(i) for i in range(9)])
    points = learned.record.candidates
    told = small_twin(ideal=True)
    told.move_to(points[7])
    assert learned.record.truth[7] == pytest.approx(sought(told.measure()))
    random = aemtwin.Run(learned.path / "random")
    one = random.record.spectrum(3)
    assert random.record.events[3]["data"]["value"] == sought(one)
    assert [row["method"] for row in learned.record.scores["rows"]] == [
        "gp + log_ei",
        "random",
    ]


def test_a_deep_kernel_sees_the_frame_that_the_run_took(tmp_path):
    twin = small_twin()
    run = aemtwin.run(
        twin,
        out=str(tmp_path),
        surrogate="dkl",
        inputs={"size": 4, "scales": [1, 2]},
        **SMALL,
    )
    frame = twin.events()[0]
    assert (frame["call"], frame["arguments"]["channels"]) == (
        "scan",
        ["height", "counts"],
    )
    assert run.record.maps["latent"].shape == (30, 2)
    assert sum(event["call"] == "scan" for event in twin.events()) == 1
    assert "patches" in run.report().read_text(encoding="utf-8")


def test_candidates_whose_patches_are_cut_off_are_left_out_when_asked(tmp_path):
    run = aemtwin.run(
        small_twin(),
        out=str(tmp_path),
        surrogate="dkl",
        inputs={"size": 3, "border": "skip"},
        **{**SMALL, "steps": 50},
    )
    measured = {event["data"]["index"] for event in run.record.events}
    inner = {row * 5 + column for row in range(1, 5) for column in range(1, 4)}
    assert measured == inner


def test_a_derived_image_is_refused_before_anything_is_done(tmp_path):
    from dataclasses import replace

    from aemtwin.formats.specimens import make_sample
    from aemtwin.instruments.afm import AFM
    from aemtwin.instruments.twin import Twin

    arrays = small_arrays()
    arrays[0] = replace(arrays[0], derived="mean of loops over bias")
    twin = Twin(make_sample(arrays), AFM, name="derived")
    leaky = {"channels": ["height"]}
    options = {**SMALL, "surrogate": "dkl", "out": str(tmp_path)}
    with pytest.raises(BadConfig, match="leaky = true"):
        aemtwin.run(twin, inputs=leaky, **options)
    assert not list(tmp_path.iterdir())
    run = aemtwin.run(twin, inputs={**leaky, "leaky": True}, **options)
    assert "derived from the spectra" in run.report().read_text(encoding="utf-8")


def test_an_acquisition_that_reads_draws_needs_a_surrogate_that_has_them(tmp_path):
    from aemtwin.beliefs import require_together

    class NoDraws:
        name = "plain"

    from aemtwin import acquisition

    with pytest.raises(BadConfig, match="plain has no method `draw`"):
        require_together(NoDraws(), acquisition.get("thompson"))
    options = {**SMALL, "acquisition": "thompson", "out": str(tmp_path)}
    run = aemtwin.run(small_twin(), **options)
    assert len({row["index"] for row in run.table()}) == 9


@pytest.mark.parametrize(
    "name",
    [
        "sts_grid",
        pytest.param("sto_edge", marks=pytest.mark.slow),
        pytest.param("leak", marks=pytest.mark.slow),
    ],
)
def test_campaigns_on_real_files(data_folder, tmp_path, name):
    described = config.load(campaign_file(name))
    source = str(data_folder / described.twin.source.removeprefix("$AEMTWIN_DATA/"))
    twin = described.twin.model_copy(update={"source": source})
    kept = {"first": 6, "steps": 3, "out": str(tmp_path), "baseline": False}
    run = aemtwin.run(config=described.model_copy(update={**kept, "twin": twin}))
    assert len(run.table()) == 9
    assert np.isfinite(run.posterior()["mean"]).all()
    assert run.record.start["instrument"]["identity"]["calibrated"]
    assert ("leaky" in run.report().read_text("utf-8").split("<h2>")[0]) == (
        name == "leak"
    )


def test_a_file_that_lies_nowhere_known_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("AEMTWIN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadConfig, match="needs the variable AEMTWIN_DATA"):
        aemtwin.run(config=config.load(campaign_file("sts_grid")))
    assert not list(tmp_path.iterdir())


def test_images_of_three_samples_are_scanned_and_traced_but_not_run(
    data_folder, tmp_path
):
    file = data_folder / "nsid" / "pfm_multichannel.nsid.h5"
    for sample, shape in (
        ("PTO_Funakubo0001", (256, 256)),
        ("PMN28Pt0000", (256, 256)),
        ("PZT_thick0009", (128, 256)),
    ):
        twin = aemtwin.open_twin(file, select=sample)
        assert twin.scan().values.shape == shape
        centre = np.mean(twin.describe().bounds, axis=1)
        line = twin.trace([centre, centre + 1e-8, centre + 2e-8])
        assert len(line.arrays) >= 4
        assert all(np.isfinite(values).all() for values in line.arrays.values())
        with pytest.raises(BadConfig, match="images alone"):
            aemtwin.run(twin, out=str(tmp_path))
