# A beamline node: docker build -t xct . && docker run --rm -v "$PWD:/data" xct run run.toml
# With Apptainer: apptainer build xct.sif docker-daemon://xct:latest
FROM python:3.12-slim

COPY . /src
RUN pip install --no-cache-dir '/src[fft,formats,remote]' && rm -rf /src \
    && mkdir /cache && chmod 777 /cache

# compiled kernels outlive the container where /cache is a volume; any user may write there
ENV NUMBA_CACHE_DIR=/cache MPLCONFIGDIR=/cache
WORKDIR /data
ENTRYPOINT ["xct"]
CMD ["--help"]
