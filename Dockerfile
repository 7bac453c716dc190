# hrcnn-jax in a container: the app unless another command is given.
#
#   docker build -t hrcnn-jax .                             # for CPUs
#   docker build -t hrcnn-jax --build-arg EXTRAS=app,cuda . # for NVIDIA GPUs: run with --gpus all
#
#   docker run --rm -p 127.0.0.1:8642:8642 hrcnn-jax
#   docker run --rm -v "$PWD:/pictures" -u "$(id -u)" hrcnn-jax restore -r . -o restored/
#
# tools/check_image.sh checks it as far as that can be done without Docker.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=app
COPY . /source
RUN python -m venv /venv && \
    /venv/bin/pip install --no-cache-dir --disable-pip-version-check "/source[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /venv /venv
RUN useradd --uid 1000 --create-home hrcnn
USER 1000
ENV PATH=/venv/bin:$PATH
WORKDIR /pictures
EXPOSE 8642
ENTRYPOINT ["hrcnn-jax"]
CMD ["app", "--host", "0.0.0.0", "--no-browser"]
