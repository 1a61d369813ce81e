#include "qm_service.h"

int main(int argc, char **argv)
{
    return svc_main(&qm_service, argc, argv);
}
