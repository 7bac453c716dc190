"""The HTTP interface, with a tiny network."""

import io
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import httpx2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from conftest import fresh_params, jpeg_bytes, made_card, make_photo, random_params
from PIL import Image, ImageCms
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive

import hrcnn_jax
from hrcnn_jax.app import server, words
from hrcnn_jax.app.guard import POLICY
from hrcnn_jax.app.workshop import Limits, Workshop
from hrcnn_jax.cli import app as command
from hrcnn_jax.cli.main import main
from hrcnn_jax.files import reader
from hrcnn_jax.history import inspection
from hrcnn_jax.networks import registry, zoo
from hrcnn_jax.networks.zoo import Network
from hrcnn_jax.restoration.restorer import Restorer
from hrcnn_jax.scores.protocol import Protocol, recorded

HOME = "http://127.0.0.1:8642"
PAGE = Path(server.__file__).parent / "page"


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    architecture = registry.get("compact")
    options = {"width": 8, "blocks": 1}
    module = architecture.build(options)
    noise = random_params(module, scale=0.05)
    params = jax.tree.map(jnp.add, fresh_params(module), noise)
    card = recorded(
        made_card("compact", options), Protocol("live1"), {10: {"gain": 1.0}, 50: {"gain": 0.5}}
    )
    return Restorer(Network("tiny", architecture, module, params, card), chroma=None)


@pytest.fixture(scope="module")
def client(restorer: Restorer) -> Iterator[TestClient]:
    with TestClient(server.build(Workshop([restorer])), base_url=HOME) as client:
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return jpeg_bytes(
        make_photo(40, 56),
        quality=20,
        exif=exif.tobytes(),
        icc_profile=profile,
        subsampling="4:4:4",
    )


def test_a_picture_comes_back_as_the_restorer_restores_it(
    client: TestClient, restorer: Restorer, photo: bytes
) -> None:
    answer = client.post("/api/restore?name=C:\\folder/my photo.jpg", content=photo)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"].endswith("UTF-8''my%20photo.png")
    with Image.open(io.BytesIO(answer.content)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), restorer.restore(photo))
        assert picture.getexif()[0x010E] == "a description"
        assert picture.info["icc_profile"]

    deep = client.post("/api/restore?format=tiff16", content=photo).content
    np.testing.assert_array_equal(
        tifffile.imread(io.BytesIO(deep)), restorer.restore(photo, depth="uint16")
    )
    for name in ("webp", "jpeg"):
        answer = client.post(f"/api/restore?format={name}&quality=100", content=photo)
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert answer.headers["content-type"] == Image.MIME[picture.format or ""]
            assert picture.getexif()[0x010E] == "a description"
            assert picture.info["icc_profile"]
            assert picture.size == (56, 40)


def test_strength_and_history_are_obeyed(
    client: TestClient, restorer: Restorer, photo: bytes
) -> None:
    def pixels(query: str) -> np.ndarray:
        answer = client.post(f"/api/restore?{query}", content=photo)
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    np.testing.assert_array_equal(pixels("strength=0"), hrcnn_jax.decode(photo))
    half = Restorer(restorer.network, strength=0.5, chroma=None).restore(photo)
    np.testing.assert_array_equal(pixels("strength=0.5"), half)
    assert (half != restorer.restore(photo)).any()

    first = jpeg_bytes(make_photo(96, 128)[..., 1], quality=15)
    photo = jpeg_bytes(np.asarray(Image.open(io.BytesIO(first))), quality=92)
    expected = Restorer(restorer.network, history="auto", chroma=None).restore(photo)
    np.testing.assert_array_equal(pixels("history=auto"), expected)
    assert (pixels("history=off") != expected).any()


def test_what_is_found_is_told_in_facts_and_in_words(client: TestClient, photo: bytes) -> None:
    told = client.post("/api/inspect?name=photo.jpg", content=photo).json()
    facts = inspection.inspect(reader.read(photo, name="photo.jpg"), None)
    assert told["name"] == "photo.jpg"
    assert {key: told[key] for key in ("width", "quality", "history")} == {
        key: facts[key] for key in ("width", "quality", "history")
    }
    assert told["expected_gain"] == pytest.approx(0.875)  # between 1.0 at 10 and 0.5 at 50
    assert told["words"] == [
        "56 × 40 pixels, colour, chroma 4:4:4.",
        "Saved at quality 20: strongly compressed: ripples around edges, blocks where it is "
        "smooth.",
        "At this quality tiny gains +0.9 dB on average: 18 % of the squared error is gone.",
        "EXIF and colour profile will go along.",
    ]


def test_the_earlier_compression_decides_what_is_expected() -> None:
    facts = inspection.inspect(
        reader.read(jpeg_bytes(make_photo(16, 16)[..., 0], quality=90)), None
    )
    before = {"encoder": "libjpeg", "quality": 20, "luma_quality": 20}
    before |= {"grid": [4, 4], "resized_from": None, "sharpened": None}
    assert inspection.quality_of_damage(facts) == 90
    assert inspection.quality_of_damage(facts | {"history": before}) == 20
    told = words.sentences(facts | {"history": before}, model="tiny", gain=None)
    assert "saved before at quality 20, and cropped since:" in told[2]


@pytest.mark.parametrize(
    ("encoder", "grid", "sharpened", "since"),
    [
        ("libjpeg", [0, 0], None, "resized since:"),
        ("libjpeg", [4, 4], None, "cropped and resized since:"),
        ("libjpeg-turned", [4, 0], None, "turned and resized since:"),
        ("libjpeg", [4, 4], [1.0, 0.8], "cropped, resized and sharpened since:"),
    ],
)
def test_a_resizing_is_told(
    encoder: str, grid: list[int], sharpened: list[float] | None, since: str
) -> None:
    facts = inspection.inspect(reader.read(jpeg_bytes(make_photo(16, 16), quality=90)), None)
    before = {"encoder": encoder, "quality": 20, "luma_quality": 20}
    before |= {"grid": grid, "resized_from": [30, 40], "sharpened": sharpened}
    told = words.sentences(facts | {"history": before}, model="tiny", gain=None)
    assert f"saved before at quality 20, and {since} that did the damage." in told[2]


@pytest.mark.parametrize("path", ["restore", "inspect"])
def test_what_cannot_be_read_gets_a_sentence(client: TestClient, photo: bytes, path: str) -> None:
    for content, sentence in {
        b"": "is empty",
        b"not a picture": "is not one of JPEG",
        b"\x89PNG\r\n\x1a\n": "does not decode as PNG",
        photo[: len(photo) // 2]: "broken.jpg: ",
    }.items():
        answer = client.post(f"/api/{path}?name=broken.jpg", content=content)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("broken.jpg: ")
        assert sentence in answer.json()["error"]


def test_of_a_damaged_file_what_is_there_is_restored_if_so_asked(client: TestClient) -> None:
    whole = jpeg_bytes(make_photo(64, 80), quality=90)
    cut = whole[: len(whole) // 2] + b"\xff\xd9"
    told = client.post("/api/inspect?salvage=true", content=cut).json()
    damage = reader.read(cut, salvage=True).damage
    assert damage is not None
    assert told["damage"] == damage
    assert told["words"][1] == f"The file is damaged: {damage}."
    answer = client.post("/api/restore?salvage=true&strength=0", content=cut)
    with Image.open(io.BytesIO(answer.content)) as ours, Image.open(io.BytesIO(cut)) as pillow:
        difference = np.asarray(ours).astype(int) - np.asarray(pillow)
    assert np.abs(difference).max() <= 3  # libjpeg's integer arithmetic
    for path in ("restore", "inspect"):
        assert client.post(f"/api/{path}?salvage=false", content=cut).status_code == 422


def test_what_is_told_is_what_will_be_done(client: TestClient, photo: bytes) -> None:
    told = client.post("/api/inspect?history=quality=5,grid=2:3", content=photo).json()
    assert (told["history"]["quality"], told["history"]["grid"]) == (5, [2, 3])
    assert client.post("/api/inspect?history=off", content=photo).json()["history"] is None
    size = "history=quality=5,size=1x900"  # it cannot have had
    for path in ("inspect", "restore"):
        assert client.post(f"/api/{path}?{size}", content=photo).status_code == 422


def test_a_format_that_cannot_hold_a_picture_is_told_with_its_name(client: TestClient) -> None:
    file = io.BytesIO()
    picture = Image.fromarray(make_photo(16, 16))
    picture.putalpha(128)
    picture.save(file, "PNG")
    answer = client.post("/api/restore?name=a.png&format=jpeg", content=file.getvalue())
    assert answer.status_code == 422
    assert answer.json() == {"error": "a.png: jpg has no transparency; choose another format"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("strength=2", "strength must be from 0 to 1, got '2'"),
        ("strength=nan", "strength must be from 0 to 1, got 'nan'"),
        ("salvage=1", "salvage must be true or false, got '1'"),
        ("quality=9.5", "quality must be from 1 to 100, got '9.5'"),
        ("format=gif", "format must be one of png, "),
        ("model=../../etc/passwd", "model must be one of tiny, got '../../etc/passwd'"),
        ("history=perhaps", "history must be auto, off, or such as quality=20, "),
    ],
)
def test_parameters_that_make_no_sense(
    client: TestClient, photo: bytes, query: str, sentence: str
) -> None:
    answer = client.post(f"/api/restore?{query}", content=photo)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)


def test_other_paths_and_methods(client: TestClient) -> None:
    assert client.get("/nowhere").status_code == 404
    unknown = client.get("/api/progress/nobody")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "no such picture is worked on"})
    answer = client.get("/api/restore")
    assert answer.status_code == 405
    assert answer.json() == {"error": "GET /api/restore: Method Not Allowed"}
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("name", ["9.41\u202fAM", "my\xa0photo", "..\\a\\9.41\u202fAM", "a\tb"])
def test_names_are_given_back(client: TestClient, photo: bytes, name: str) -> None:
    given = {"name": f"{name}.jpg"}
    answer = client.post("/api/restore", content=photo, params=given)
    kept = answer.headers["content-disposition"].removeprefix("attachment; filename*=UTF-8''")
    assert unquote(kept) == name.rpartition("\\")[2] + ".png"
    told = client.post("/api/restore", content=b"", params=given).json()["error"]
    assert told.startswith(name.rpartition("\\")[2] + ".jpg: is empty")


def test_large_files_and_pictures_are_refused(restorer: Restorer, photo: bytes) -> None:
    workshop = Workshop([restorer], Limits(megabytes=1, pixels=2000))
    client = TestClient(server.build(workshop), base_url=HOME)
    answer = client.post("/api/restore", content=photo)
    assert answer.status_code == 422
    assert "2,240 pixels, more than max_pixels=2,000" in answer.json()["error"]
    large = bytes(1_000_001)
    unsaid = (large[start : start + 1000] for start in range(0, len(large), 1000))
    for content in (large, unsaid):
        answer = client.post("/api/restore", content=content)
        assert answer.status_code == 413
        assert answer.json()["error"] == "the file has more than 1 million bytes"


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:8642", True),
        ("localhost:8642", True),
        ("LOCALHOST", True),
        ("[::1]:8642", True),
        ("192.168.1.7", True),
        ("studio:8642", True),
        ("stranger.example:8642", False),
        ("127.0.0.1.stranger.example", False),
        ("", False),
    ],
)
def test_strangers_names_are_not_ours(restorer: Restorer, host: str, answered: bool) -> None:
    app = server.build(Workshop([restorer]), names=["Studio"])
    answer = TestClient(app, base_url=HOME).get("/api", headers={"host": host})
    assert answer.status_code == (200 if answered else 403)
    assert answered or "--name" in answer.json()["error"]


def test_other_pages_are_refused(client: TestClient, photo: bytes) -> None:
    for origin, status in {
        HOME: 200,
        "http://127.0.0.1:1": 403,
        "https://127.0.0.1:8642": 403,
        "http://stranger.example": 403,
        "null": 403,
    }.items():
        answer = client.post("/api/inspect", content=photo, headers={"origin": origin})
        assert answer.status_code == status, origin


def test_a_proxy_may_encrypt_under_a_name_that_is_given(restorer: Restorer, photo: bytes) -> None:
    client = TestClient(server.build(Workshop([restorer]), names=["Pics.example"]), base_url=HOME)
    for origin, status in {
        "https://pics.example": 200,
        "http://pics.example": 200,
        "https://pics.example:444": 403,
        "https://stranger.example": 403,
    }.items():
        headers = {"host": "pics.example", "origin": origin}
        answer = client.post("/api/inspect", content=photo, headers=headers)
        assert answer.status_code == status, origin


def test_every_answer_is_guarded(client: TestClient) -> None:
    for path in ("/", "/api", "/nowhere", "/api/restore"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in client.get("/api").headers


def test_the_page_has_all_it_asks_for(client: TestClient) -> None:
    for page in ("/", "/docs"):
        text = client.get(page).text
        asked = re.findall(r'(?:src|href)="(/[^"]*)"', text)
        assert len(asked) >= 4
        for path in asked:
            assert client.get(path).status_code == 200, path
        assert "style=" not in text
        assert "://" not in text  # nothing from elsewhere
    assert {path.name for path in PAGE.iterdir()} == {name for name, _ in server._PAGE.values()}


def test_the_description_is_of_what_there_is(client: TestClient, photo: bytes) -> None:
    described = client.get("/openapi.json").json()
    routes = {
        route.path: {method.lower() for method in (route.methods or set()) - {"HEAD"}}
        for route in server.routes(Workshop())
        if route.path.startswith("/api")
    }
    assert {path: set(methods) for path, methods in described["paths"].items()} == routes
    restore = described["paths"]["/api/restore"]["post"]
    usual = {
        each["name"]: each["schema"]["default"]
        for each in restore["parameters"]
        if "default" in each["schema"]
    }
    assert usual.keys() == {"model", "strength", "history", "format", "quality", "salvage"}
    answers = [client.post("/api/restore", content=photo, params=p).content for p in (usual, {})]
    assert answers[0] == answers[1]
    told = {int(status) for status in restore["responses"]}
    assert told == {200, 403} | {*server._STATUS.values()}


class Slow:
    """A workshop's work that waits to be let go, and counts itself."""

    def __init__(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun = threading.Event(), threading.Semaphore(0)
        self.now = self.most = 0
        self._work = workshop._restore
        monkeypatch.setattr(workshop, "_restore", self)

    def __call__(self, *arguments: Any) -> bytes:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.release()
        assert self.go.wait(30)
        self.now -= 1
        return self._work(*arguments)


def test_one_at_a_time_and_no_more_than_there_are_places(
    restorer: Restorer, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop([restorer], Limits(places=3))
    slow = Slow(workshop, monkeypatch)
    with (
        TestClient(server.build(workshop), base_url=HOME) as client,
        ThreadPoolExecutor(3) as threads,
    ):

        def ask(ticket: int) -> bytes:
            return client.post(f"/api/restore?ticket=t{ticket}", content=photo).content

        def ahead(ticket: int) -> int | None:
            return client.get(f"/api/progress/t{ticket}").json().get("ahead")

        pictures = []
        for ticket in range(3):
            pictures.append(threads.submit(ask, ticket))
            while ahead(ticket) is None:
                pass
        assert slow.begun.acquire(timeout=30)
        assert [ahead(ticket) for ticket in range(3)] == [0, 1, 2]
        answer = client.post("/api/restore", content=photo)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "too many pictures are waiting" in answer.json()["error"]
        slow.go.set()
        assert len({picture.result() for picture in pictures}) == 1
        assert slow.most == 1
        assert ahead(0) is None
        assert client.post("/api/restore", content=photo).status_code == 200


def test_progress_is_rows(restorer: Restorer, photo: bytes) -> None:
    workshop = Workshop([restorer])
    seen = []

    async def ask() -> None:
        async with workshop.place("mine") as job:
            seen.append(workshop.progress("mine"))
            await workshop.restore(job, photo, "photo.jpg", server.wish({}, ["tiny"]))
            seen.append(workshop.progress("mine"))
        seen.append(workshop.progress("mine"))

    anyio.run(ask)
    assert seen == [{"ahead": 0, "share": 0.0}, {"ahead": 0, "share": 1.0}, None]


def status_of(app: ASGIApp, receive: Receive, *headers: tuple[bytes, bytes]) -> int:
    """How a request to restore is answered, of which `receive` gives what arrives.

    What a server would print is raised.
    """
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/restore",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "scheme": "http",
    }
    anyio.run(app, scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("asks_first", [False, True])
def test_what_is_answered_early_is_heard_out(restorer: Restorer, asks_first: bool) -> None:
    """Unless whoever sends it asks first whether to."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"abc", "more_body": more} for more in (True, True, False)
    ]
    heard: list[Message] = []

    async def receive() -> Message:
        heard.append(messages[len(heard)])
        return heard[-1]

    length = (b"content-length", b"%d" % 10**12)
    headers = [length, (b"expect", b"100-continue")] if asks_first else [length]
    assert status_of(server.build(Workshop([restorer])), receive, *headers) == 413
    assert heard == ([] if asks_first else messages)


def test_an_answer_has_its_place_until_it_is_fetched(restorer: Restorer, photo: bytes) -> None:
    workshop = Workshop([restorer], Limits(places=1))
    app = server.build(workshop)
    asked: list[Message] = [{"type": "http.request", "body": photo, "more_body": False}]
    places: list[int] = []

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        places.append(len(workshop._jobs))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/restore",
        "query_string": b"format=tiff16",
        "headers": [(b"host", b"localhost")],
        "scheme": "http",
    }
    anyio.run(app, scope, receive, send)
    assert len(places) >= 3, "a head, pieces, an end"
    assert set(places) == {1}
    assert workshop._jobs == []


def test_who_leaves_is_not_worked_for(
    restorer: Restorer, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop([restorer])
    slow = Slow(workshop, monkeypatch)
    messages = iter([{"type": "http.request", "body": photo, "more_body": False}])

    async def receive() -> Message:
        for message in messages:
            return message
        while not slow.begun.acquire(blocking=False):
            await anyio.sleep(0.01)
        slow.go.set()
        return {"type": "http.disconnect"}

    assert status_of(server.build(workshop), receive) == 503
    assert workshop._jobs == []


def test_who_leaves_before_all_is_sent_is_no_fault_of_ours(restorer: Restorer) -> None:
    workshop = Workshop([restorer])
    messages = iter(
        [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    assert status_of(server.build(workshop), receive, (b"content-length", b"1000")) == 503
    assert workshop._jobs == []


def test_a_network_of_ones_own_is_served_whatever_its_name(tmp_path: Path) -> None:
    _, weights = zoo.find("fast")
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"small{suffix}").write_bytes(weights.with_suffix(suffix).read_bytes())
    models = command._models(str(tmp_path / "small.safetensors"))
    assert isinstance(models[0], Restorer)
    assert models[0].network.module.width == 32
    assert "small" not in models[1:]
    assert Workshop(models).models[0] == "small"


def test_a_fault_of_ours_is_told_as_such(
    restorer: Restorer, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = Workshop([restorer])

    def fail(*_: Any) -> bytes:
        raise KeyError("oops")

    monkeypatch.setattr(workshop, "_restore", fail)
    app = server.build(workshop)
    client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
    answer = client.post("/api/restore", content=photo)
    assert answer.status_code == 500
    assert answer.json() == {"error": "failed for a reason of our own (KeyError: 'oops')"}
    assert answer.headers["content-security-policy"] == POLICY


def test_the_command_serves_until_it_is_interrupted(photo: bytes) -> None:
    command = [sys.executable, "-m", "hrcnn_jax", "app", "--port", "0", "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        address = running.stdout.readline().split()[2]
        try:
            with httpx2.Client(base_url=address) as client:
                assert client.get("/api").json()["models"][0] == "small"
                assert client.post("/api/inspect", content=photo).json()["quality"] == 20
            # Answered before all has come: who still sends, as urllib does, has to get it.
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(f"{address}api/inspect?strength=2", data=bytes(50_000_000))
        finally:
            running.send_signal(signal.SIGINT)
        _, complaints = running.communicate(timeout=60)
    assert running.returncode == 0
    assert complaints == ""


def test_flags_that_make_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, status, text in (
        (["--port", "99999"], 1, "--port 99999: cannot be listened on"),
        (["--host", ""], 2, "--host is empty"),
        (["--host", "203.0.113.1"], 1, "--host 203.0.113.1 --port 8642: cannot be listened on"),
        (["--places", "0"], 2, "--places must be 1 or more"),
        (["--model", "enormous", "--port", "0"], 2, "no network 'enormous'"),
    ):
        assert main(["app", "--no-browser", *flags]) == status
        assert text in capsys.readouterr().err


def test_what_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "hrcnn_jax.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["app"]) == 1
    assert "app needs uvicorn: pip install 'hrcnn-jax[app]'" in capsys.readouterr().err
