#!/usr/bin/env bash
# Kubernetes' programs and a node's image for `make test-kubernetes`, in work/kubernetes; nothing is started here.
# Debian 12 packages the client only, but its source package has everything: it is fetched and built, in eight minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/work/kubernetes

skip() {
    echo "test-kubernetes: $1: tests are skipped"
    exit 0
}

[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || skip "only root on Debian 12 can install and build it"
grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || skip "it is built from the sources of Debian 12"
[ -e "$folder/ready" ] && exit 0
mkdir -p "$folder/bin" "$folder/lists"
export DEBIAN_FRONTEND=noninteractive
echo "test-kubernetes: installing Go, etcd, containerd and buildah"
apt-get update -qq
# RUNLEVEL=1: packages installed so do not start their services.
RUNLEVEL=1 apt-get install -y -qq --no-install-recommends build-essential buildah containerd containernetworking-plugins \
    dpkg-dev etcd-server golang-github-modern-go-reflect2-dev golang-go iptables jq mmdebstrap openssl rsync runc \
    >"$folder/install.log" 2>&1 || skip "packages could not be installed, see $folder/install.log"

if [ ! -e "$folder/bin/kubelet" ]; then
    echo "test-kubernetes: building Kubernetes from Debian's source package"
    sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$folder/sources.sources"
    sources=(-o "Dir::Etc::sourcelist=$folder/sources.sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists")
    apt-get "${sources[@]}" update -qq
    rm -rf "$folder/source" && mkdir "$folder/source"
    (cd "$folder/source" && apt-get "${sources[@]}" source -qq kubernetes >/dev/null 2>&1)
    cd "$folder"/source/kubernetes-*/
    # Its own copy of this library crashes when built with Debian's Go.
    rm vendor/github.com/modern-go/reflect2/*.go vendor/github.com/modern-go/reflect2/*.s
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} vendor/github.com/modern-go/reflect2/
    mkdir -p .go/src/k8s.io && ln -sfn ../../.. .go/src/k8s.io/kubernetes
    GOPATH=$PWD/.go GOCACHE=$folder/gocache HOME=$folder CGO_ENABLED=0 \
        make WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler cmd/kubelet cmd/kubectl" \
        >"$folder/build.log" 2>&1 || skip "it could not be built, see $folder/build.log"
    gcc -static -Os -DVERSION=1 -o "$folder/bin/pause" build/pause/linux/pause.c
    cp _output/local/bin/linux/amd64/kube* "$folder/bin/"
    cd - >/dev/null
    rm -rf "$folder/source" "$folder/gocache"
fi

echo "test-kubernetes: making the image of envs/Containerfile"
rm -f "$folder"/*.tar
mmdebstrap --variant=minbase bookworm "$folder/base.tar" >"$folder/base.log" 2>&1
base=$(buildah from scratch)
buildah add -q "$base" "$folder/base.tar" / >/dev/null
buildah commit -q "$base" localhost/vmr-base >/dev/null
buildah build -q --runtime "$(command -v runc)" --network host --build-arg BASE=localhost/vmr-base -t localhost/vmr:1 -f envs/Containerfile envs >/dev/null
pause=$(buildah from scratch)
buildah copy -q "$pause" "$folder/bin/pause" /pause >/dev/null
buildah config --entrypoint '["/pause"]' "$pause"
buildah commit -q "$pause" localhost/pause:1 >/dev/null
for image in vmr pause; do
    buildah push -q "localhost/$image:1" "docker-archive:$folder/$image.tar:localhost/$image:1"
done
buildah rm "$base" "$pause" >/dev/null
rm "$folder/base.tar"
touch "$folder/ready"
