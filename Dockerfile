# hier-agent on a CPU:
#   docker build -t hier-agent .
#   docker run --rm -v "$PWD/runs:/hier-agent/runs" hier-agent train demo
FROM python:3.11-slim

# make and git for the Makefile and for the commit that a run notes; the rest draws mazes, Fetch and rooms.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        make git libegl1 libgl1 libglu1-mesa libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

# PyTorch's own index has the build for CPUs, which pip prefers to the one with CUDA.
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1

WORKDIR /hier-agent
COPY . .
RUN make setup

ENV PATH=/hier-agent/.venv/bin:$PATH
ENTRYPOINT ["hier"]
CMD ["--help"]
