# The tested environment, for Docker and Kubernetes. The build of torch decides where it runs:
#   docker build -t ocr-ray:0.3.0-cpu .
#   docker build -t ocr-ray:0.3.0-cuda --build-arg TORCH_BACKEND=cu130 .
# torch brings CUDA's libraries along, and the NVIDIA container toolkit the driver, so both have the same base.
FROM python:3.11.14-slim-bookworm

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /opt/ocr_ray
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1

# The dependencies first: they are installed again only if they change, not for each change of the code.
COPY setup.sh pyproject.toml constraints.txt torch.txt README.md LICENSE ./
ARG TORCH_BACKEND=cpu
# torch.compile needs a C++ compiler on a GPU; the fonts are those of setup.sh.
# hadolint ignore=DL3008
RUN apt-get update -qq && \
    apt-get install -y -qq --no-install-recommends fonts-baekmuk fonts-nanum && \
    if [ "$TORCH_BACKEND" != cpu ]; then apt-get install -y -qq --no-install-recommends g++; fi && \
    rm -rf /var/lib/apt/lists/* && \
    mkdir ocr_ray && touch ocr_ray/__init__.py && \
    TORCH_BACKEND="$TORCH_BACKEND" ./setup.sh && \
    for name in ray ocr-ray; do ln -s "$PWD/.venv/bin/$name" /usr/local/bin/; done

COPY ocr_ray ocr_ray
COPY jobs jobs
# The code belongs to root and stays as it is; only /data and the home folder can be written.
RUN .venv/bin/python -m compileall -q ocr_ray jobs && \
    useradd --create-home --uid 1000 ocr && \
    install -d -o ocr -g ocr /data

ENV PATH=/opt/ocr_ray/.venv/bin:$PATH NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /data
VOLUME /data
ENTRYPOINT ["ocr-ray"]
CMD ["--help"]
