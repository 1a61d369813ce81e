#include "en_service.h"

int main(int argc, char **argv)
{
    return svc_main(&en_service, argc, argv);
}
