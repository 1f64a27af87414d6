# Starts one container and stays as its parent, to leave its exit status behind in a file: the
# kubelet may be killed and started again meanwhile. Every word of an API object comes in as a
# positional parameter and is only ever used as "$x" or "$@".
#
#   enter RUN HOSTNAME WORKDIR [SOURCE TARGET OPTIONS]... -- COMMAND [ARGUMENT]...
#     runs in the container's own mount and UTS namespaces, and leads to
#   shim RUN WORKDIR COMMAND [ARGUMENT]...
#     whose first child is process 1 of a new PID namespace
#   init WORKDIR COMMAND [ARGUMENT]...
#
# Descriptor 3 is a pipe to the kubelet, which reads the container's PID from it; 4 was nsenter's.
set -eu

# Makes a path that the host does not have: the closest folder above it that does exist becomes,
# for this container only, a tmpfs with all that folder holds, and the path is made on it.
#   furnish RUN TARGET SOURCE
furnish() {
    above=$2
    while [ ! -d "$above" ]; do above=${above%/*}; done
    mkdir -p -- "$1.root"
    mount -t tmpfs -o mode=755 tmpfs "$1.root"
    for entry in "$above"/* "$above"/.[!.]*; do
        name=${entry##*/}
        if [ -L "$entry" ]; then
            cp -P -- "$entry" "$1.root/$name"
        elif [ -d "$entry" ]; then
            mkdir -- "$1.root/$name"
            mount --bind -- "$entry" "$1.root/$name"
        elif [ -e "$entry" ]; then
            : >"$1.root/$name"
            mount --bind -- "$entry" "$1.root/$name"
        fi
    done
    mount --move -- "$1.root" "$above"
    if [ -d "$3" ]; then
        mkdir -p -- "$2"
    else
        mkdir -p -- "${2%/*}"
        : >"$2"
    fi
}

stage=$1
shift
case $stage in
enter)
    run=$1 name=$2 workdir=$3
    shift 3
    exec 4>&-
    printf %s "$name" >/proc/sys/kernel/hostname
    while [ "$1" != -- ]; do
        [ -e "$2" ] || furnish "$run" "$2" "$1"
        mount --bind -- "$1" "$2"
        [ "$3" = rw ] || mount -o remount,bind,ro -- "$2"
        shift 3
    done
    shift
    exec unshare --pid -- sh "$0" shim "$run" "$workdir" "$@"
    ;;
shim)
    run=$1 workdir=$2
    shift 2
    sh "$0" init "$workdir" "$@" 3>&- &
    # From here on builtins only: a program would be born into the container's PID namespace.
    echo "$$ $!" >"$run.pid"
    echo "$!" >&3
    exec 3>&-
    status=0
    wait "$!" || status=$?
    echo "$status" >"$run.exit"
    ;;
init)
    workdir=$1
    shift
    mount -t proc proc /proc
    cd -- "$workdir"
    exec "$@"
    ;;
esac
