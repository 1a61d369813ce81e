# source <(./run completion bash)
_l2flow_run() {
    local word=${COMP_WORDS[COMP_CWORD]} words="demo test build up down status deps fuzz soak bench coverage format completion --help"
    if [ "$COMP_CWORD" -gt 1 ]; then
        case ${COMP_WORDS[1]} in
            demo) words="--keep --synthetic --hours --speed" ;;
            test) words="unit sim contract tsan integration e2e fault fuzz tidy" ;;
            up) words="--no-postgres" ;;
            build) words="release dev asan tsan coverage fuzz" ;;
            deps) words="build kafka python database postgres sinks test tsan bench" ;;
            fuzz) words="--seconds --jobs --only --merge --no-save --build" ;;
            soak) words="--cycles --faults --monitor --seed" ;;
            bench) words="rate decode latency restart memory flat cost archiver monitor drift live alerts rolling takeover --quick" ;;
            completion) words="bash" ;;
            *) words="" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _l2flow_run ./run run
